import type { Clause } from '../clause.ts'

/** The NET clauses, in the order of the page. */
export const net: readonly Clause[] = [
  { id: 'NET-1', title: 'Cuts heal', needs: 'memory' },
  { id: 'NET-2', title: 'Half-open links are noticed', needs: 'memory' },
  { id: 'NET-3', title: 'One-way silence is noticed', needs: 'memory' },
  { id: 'NET-4', title: 'Slow is not broken', needs: 'memory' },
  { id: 'NET-5', title: 'Narrow is not broken', needs: 'network' },
  { id: 'NET-6', title: 'Flapping still progresses', needs: 'memory' },
  { id: 'NET-7', title: 'Framing is right at any cut', needs: 'network' },
  { id: 'NET-8', title: 'Clean broker restart', needs: 'memory' },
  { id: 'NET-9', title: 'kill -9 of the broker', needs: 'memory' },
  { id: 'NET-10', title: 'A frozen broker', needs: 'memory' },
  { id: 'NET-11', title: 'Everything is re-applied', needs: 'memory' },
  { id: 'NET-12', title: 'Deleted while consuming', needs: 'memory' },
  { id: 'NET-13', title: 'An emptied broker', needs: 'memory' },
  { id: 'NET-14', title: 'Reconnecting is polite', needs: 'memory' },
  { id: 'NET-15', title: 'A hanging first host is skipped', needs: 'network' },
  { id: 'NET-16', title: 'Idle links survive', needs: 'memory' },
  { id: 'NET-17', title: 'Losing a right while running', needs: 'memory' },
  { id: 'NET-18', title: 'A cluster loses its nodes in turn', needs: 'long' },
  { id: 'NET-19', title: 'A full broker', needs: 'long' },
]
