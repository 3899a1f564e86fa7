import type { Clause } from '../clause.ts'

/** The RBL clauses, in the order of the page. */
export const rbl: readonly Clause[] = [
  { id: 'RBL-1', title: 'A dead member\'s work goes to another', needs: 'memory' },
  { id: 'RBL-2', title: 'Rebalance under load', needs: 'memory' },
  { id: 'RBL-3', title: 'Leaving politely is free', needs: 'memory' },
  { id: 'RBL-4', title: 'A zombie cannot settle', needs: 'memory' },
  { id: 'RBL-5', title: 'Revoked work ends before it starts elsewhere', needs: 'memory' },
  { id: 'RBL-6', title: 'Members never fight', needs: 'memory' },
  { id: 'RBL-7', title: 'Coming back resumes', needs: 'memory' },
  { id: 'RBL-8', title: 'A new subscription disturbs nobody', needs: 'memory' },
  { id: 'RBL-9', title: 'Leaving drops nothing', needs: 'memory' },
  { id: 'RBL-10', title: 'Recovered messages are whole', needs: 'memory' },
  { id: 'RBL-11', title: 'One owner per partition', needs: 'memory' },
  { id: 'RBL-12', title: 'Every member may both recover and read new', needs: 'memory' },
  { id: 'RBL-13', title: 'A frozen owner starts nothing on waking', needs: 'memory' },
  { id: 'RBL-14', title: 'A hand-over repeats nothing', needs: 'memory' },
  { id: 'RBL-15', title: 'Partitions are shared evenly', needs: 'memory' },
  { id: 'RBL-16', title: 'lost comes before the successor', needs: 'memory' },
]
