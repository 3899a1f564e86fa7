import type { Clause } from '../clause.ts'

/** The PUB clauses, in the order of the page. */
export const pub: readonly Clause[] = [
  { id: 'PUB-1', title: 'In a quiet run everything sent is delivered, once', needs: 'memory' },
  { id: 'PUB-2', title: 'A resolved send survives kill -9 of the broker', needs: 'memory' },
  { id: 'PUB-3', title: 'Broker down: send rejects in bounded time, never resolves', needs: 'memory' },
  { id: 'PUB-4', title: 'A link lost between write and confirm gives unknown', needs: 'memory' },
  { id: 'PUB-5', title: 'A refusal is not success', needs: 'memory' },
  { id: 'PUB-6', title: 'A message to nowhere is reported or kept', needs: 'memory' },
  { id: 'PUB-7', title: 'Too large is definite and harmless', needs: 'memory' },
  { id: 'PUB-8', title: 'A batch reports per message, in order', needs: 'memory' },
  { id: 'PUB-9', title: 'Every send ends once', needs: 'memory', standing: true },
  { id: 'PUB-10', title: 'Faster than the broker is bounded', needs: 'memory' },
  { id: 'PUB-11', title: 'Send obeys its signal', needs: 'memory' },
  { id: 'PUB-12', title: 'The receipt is true', needs: 'memory' },
  { id: 'PUB-13', title: 'Sending inside a handler cannot deadlock', needs: 'memory' },
  { id: 'PUB-14', title: 'Sending and consuming do not block each other', needs: 'memory' },
  { id: 'PUB-15', title: 'No connection or channel per message, no eviction', needs: 'memory' },
  { id: 'PUB-16', title: 'A slow rhythm is not delayed', needs: 'memory' },
  { id: 'PUB-17', title: 'An unknown is repeated under its id, by core alone', needs: 'memory' },
  { id: 'PUB-18', title: 'Nothing vanishes in an outage', needs: 'memory' },
]
