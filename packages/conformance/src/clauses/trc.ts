import type { Clause } from '../clause.ts'

/** The TRC clauses, in the order of the page. */
export const trc: readonly Clause[] = [
  { id: 'TRC-1', title: 'Trace context travels', needs: 'memory' },
  { id: 'TRC-2', title: 'A redelivery is a new span in the same trace', needs: 'memory' },
  { id: 'TRC-3', title: 'Copies keep the origin', needs: 'memory' },
  { id: 'TRC-4', title: 'Bad context is dropped', needs: 'memory' },
  { id: 'TRC-5', title: 'Messages sent in a handler join the trace', needs: 'memory' },
  { id: 'TRC-6', title: 'Counters are true', needs: 'memory' },
  { id: 'TRC-7', title: 'Telemetry is safe', needs: 'memory' },
]
