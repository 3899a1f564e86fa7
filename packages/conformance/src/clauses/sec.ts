import type { Clause } from '../clause.ts'

/** The SEC clauses, in the order of the page. */
export const sec: readonly Clause[] = [
  { id: 'SEC-1', title: 'No secret is ever shown', needs: 'memory', standing: true },
  { id: 'SEC-2', title: 'A wrong password says so, safely', needs: 'memory' },
  { id: 'SEC-3', title: 'TLS is verified', needs: 'network' },
  { id: 'SEC-4', title: 'Credentials are asked for again', needs: 'network' },
  { id: 'SEC-5', title: 'Headers cannot inject', needs: 'memory' },
  { id: 'SEC-6', title: 'Content cannot poison', needs: 'memory' },
  { id: 'SEC-7', title: 'Denied is definite and local', needs: 'memory' },
  { id: 'SEC-8', title: 'Error text in dead letters is capped and clean', needs: 'memory' },
]
