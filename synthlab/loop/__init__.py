"""Simulate, select, train, serve, evaluate; rejection sampling and GRPO.

prompts             Reducing the agent prompt
evaluate            Evaluating agents on the same tasks
distill             Distillation from verified synthetic conversations
rejection_sampling  Rejection sampling fine-tuning on τ²
simulated_env       Simulated environments and LLM judge rewards
grpo                GRPO training on τ² episodes
"""
