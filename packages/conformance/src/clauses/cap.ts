import type { Clause } from '../clause.ts'

/** The CAP clauses, in the order of the page. */
export const cap: readonly Clause[] = [
  { id: 'CAP-1', title: 'The manifest is plain, frozen, complete and the same from open to close', needs: 'memory' },
  { id: 'CAP-2', title: 'A demand that cannot be met is refused at start', needs: 'memory' },
  { id: 'CAP-3', title: 'What core makes up for is as good as native', needs: 'memory' },
  { id: 'CAP-4', title: 'Bad configuration is refused before any I/O', needs: 'memory' },
  { id: 'CAP-5', title: 'Options are copied, never shared or changed', needs: 'memory' },
  { id: 'CAP-6', title: 'Memory and broker give the same answers', needs: 'memory' },
  { id: 'CAP-7', title: 'One application, one event log', needs: 'memory' },
  { id: 'CAP-8', title: 'The way down works', needs: 'memory' },
  { id: 'CAP-9', title: 'Topology conflicts show at start', needs: 'memory' },
  { id: 'CAP-10', title: 'Building is silent', needs: 'memory' },
  { id: 'CAP-11', title: 'The memory adapter is not kinder than a broker', needs: 'memory' },
  { id: 'CAP-12', title: 'Limits are true', needs: 'memory' },
  { id: 'CAP-13', title: 'A group that nobody declared is refused', needs: 'memory' },
]
