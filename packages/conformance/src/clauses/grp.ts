import type { Clause } from '../clause.ts'

/** The GRP clauses, in the order of the page. */
export const grp: readonly Clause[] = [
  { id: 'GRP-1', title: 'One delivery per group', needs: 'memory' },
  { id: 'GRP-2', title: 'Work is shared', needs: 'memory' },
  { id: 'GRP-3', title: 'Every group gets everything', needs: 'memory' },
  { id: 'GRP-4', title: 'The group/broadcast matrix is exact', needs: 'memory' },
  { id: 'GRP-5', title: 'A broadcast instance gets what comes while it is connected', needs: 'memory' },
  { id: 'GRP-6', title: 'earliest and a Date start where they say', needs: 'memory' },
  { id: 'GRP-7', title: 'latest is fixed when start resolves', needs: 'memory' },
  { id: 'GRP-8', title: 'A declared group misses nothing before its first consumer', needs: 'memory' },
  { id: 'GRP-9', title: 'A group that is away misses nothing', needs: 'memory' },
  { id: 'GRP-10', title: 'The start position applies once', needs: 'memory' },
  { id: 'GRP-11', title: 'A lost position is an event, not a jump', needs: 'memory' },
  { id: 'GRP-12', title: 'Topics are isolated, and one consumer may take several', needs: 'memory' },
  { id: 'GRP-13', title: 'Many start at once', needs: 'memory' },
  { id: 'GRP-14', title: 'Names cannot collide or escape', needs: 'memory' },
  { id: 'GRP-15', title: 'Declaring is idempotent and race-free', needs: 'memory' },
  { id: 'GRP-16', title: 'Another partition count is a conflict', needs: 'memory' },
  { id: 'GRP-17', title: 'A group has all its partitions or is not declared', needs: 'memory' },
  { id: 'GRP-18', title: 'Declaring disturbs nobody', needs: 'memory' },
]
