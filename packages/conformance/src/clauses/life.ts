import type { Clause } from '../clause.ts'

/** The LIFE clauses, in the order of the page. */
export const life: readonly Clause[] = [
  { id: 'LIFE-1', title: 'Drain finishes what runs and hands over the rest', needs: 'memory' },
  { id: 'LIFE-2', title: 'While draining, new messages are left alone', needs: 'memory' },
  { id: 'LIFE-3', title: 'Close keeps its deadline', needs: 'memory' },
  { id: 'LIFE-4', title: 'Rolling restart is invisible', needs: 'memory' },
  { id: 'LIFE-5', title: 'Close flushes sends', needs: 'memory' },
  { id: 'LIFE-6', title: 'Lifecycle calls are idempotent in any order', needs: 'memory' },
  { id: 'LIFE-7', title: 'After close everything rejects', needs: 'memory' },
  { id: 'LIFE-8', title: 'No leaks', needs: 'memory' },
  { id: 'LIFE-9', title: 'Waiting can be cancelled', needs: 'memory' },
  { id: 'LIFE-10', title: 'message.signal tells the truth', needs: 'memory' },
  { id: 'LIFE-11', title: 'Consumers may come and go', needs: 'memory' },
  { id: 'LIFE-12', title: 'The broker may come late', needs: 'memory' },
  { id: 'LIFE-13', title: 'One stops, the others run', needs: 'memory' },
  { id: 'LIFE-14', title: 'Status is about the consumer, not the socket', needs: 'memory' },
  { id: 'LIFE-15', title: 'No rejection goes unhandled', needs: 'memory', standing: true },
  { id: 'LIFE-16', title: 'After close, silence', needs: 'memory', standing: true },
  { id: 'LIFE-17', title: 'Connections do not grow with subscriptions', needs: 'memory' },
  { id: 'LIFE-18', title: 'A refused consumer rejects', needs: 'memory' },
  { id: 'LIFE-19', title: 'A consumer that dies for good says so', needs: 'memory' },
  { id: 'LIFE-20', title: 'Failures are visible by default', needs: 'memory' },
]
