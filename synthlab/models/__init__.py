"""One protocol for language models: scripted, local, served, over HTTP; durable calls.

chat              Chat models: protocol and tool calls
structured        Structured answers and majority votes
hub               Model files and chat templates
local             Local models: transformers and vLLM
server            Running a vLLM server
llm               Language models from one string
journal           A durable journal of model calls
queue             Adaptive concurrency, retries and backoff
durable           Cached and resumable model calls
compare_backends  Comparing inference backends
"""
