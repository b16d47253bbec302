"A client in a process of its own, to be killed: kept apart so that starting it imports no more than it needs."
from synthlab.calls import Calls
from synthlab.llm import make_llm
from synthlab.types import Message


def chats(n, start=0): return [[Message('system', 'You are terse.'), Message('user', f'q{i}')] for i in range(start, start+n)]
def client(url, path, n, most): Calls(make_llm(url+'#m'), path, most=most)(chats(n))
