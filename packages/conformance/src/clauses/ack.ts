import type { Clause } from '../clause.ts'

/** The ACK clauses, in the order of the page. */
export const ack: readonly Clause[] = [
  { id: 'ACK-1', title: 'Nothing is settled before its handler ends', needs: 'memory' },
  { id: 'ACK-2', title: 'One settle per delivery', needs: 'memory' },
  { id: 'ACK-3', title: 'Settled stays settled', needs: 'memory' },
  { id: 'ACK-4', title: 'A late settle is stale and harmless', needs: 'memory' },
  { id: 'ACK-5', title: 'Only the finished message is settled', needs: 'memory' },
  { id: 'ACK-6', title: 'A stuck message holds only its own partition', needs: 'memory' },
  { id: 'ACK-7', title: 'Ends in any order are safe', needs: 'memory' },
  { id: 'ACK-8', title: 'Unsettled comes back', needs: 'memory' },
  { id: 'ACK-9', title: 'A failed settle is seen', needs: 'memory' },
  { id: 'ACK-10', title: 'Each decision does what it says', needs: 'memory' },
  { id: 'ACK-11', title: 'Settles flush when idle', needs: 'memory' },
  { id: 'ACK-12', title: 'At-most-once means at most one start', needs: 'memory' },
  { id: 'ACK-13', title: 'A batch fails per message', needs: 'memory' },
  { id: 'ACK-14', title: 'Handlers do not repeat each other', needs: 'memory' },
  { id: 'ACK-15', title: 'A batch that throws is handed out one by one', needs: 'memory' },
  { id: 'ACK-16', title: 'postpone counts nothing', needs: 'memory' },
  { id: 'ACK-17', title: 'Finished is not run again', needs: 'memory' },
  { id: 'ACK-18', title: 'A pulled message does not stay out for ever', needs: 'memory' },
]
