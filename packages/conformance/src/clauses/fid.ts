import type { Clause } from '../clause.ts'

/** The FID clauses, in the order of the page. */
export const fid: readonly Clause[] = [
  { id: 'FID-1', title: 'Bodies are bytes', needs: 'memory' },
  { id: 'FID-2', title: 'Header names and values survive', needs: 'memory' },
  { id: 'FID-3', title: 'Header values keep their type', needs: 'memory' },
  { id: 'FID-4', title: 'Header limits are definite', needs: 'memory' },
  { id: 'FID-5', title: 'Keys survive', needs: 'memory' },
  { id: 'FID-6', title: 'Times survive', needs: 'memory' },
  { id: 'FID-7', title: 'The id is stable', needs: 'memory' },
  { id: 'FID-8', title: 'Content type and type are kept apart', needs: 'memory' },
  { id: 'FID-9', title: 'Internal names do not leak', needs: 'memory' },
  { id: 'FID-10', title: 'A handler cannot spoil a retry', needs: 'memory' },
  { id: 'FID-11', title: 'Invalid values never leave', needs: 'memory' },
  { id: 'FID-12', title: 'The first message is read back', needs: 'memory' },
  { id: 'FID-13', title: 'A null body is data', needs: 'memory' },
]
