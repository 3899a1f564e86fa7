import type { Clause } from '../clause.ts'
import { when } from '../clause.ts'
import {
  atTheSameTime,
  foreignIds,
  noClaim,
  noRecordOfFailure,
  oneEffect,
  recordAndEffect,
  sameIdElsewhere,
  windowIsTrue,
} from './once-effects.ts'
import { atomicForward, idsOfForwards, neighbours, noAtomicForward, outputsFollow, zombies } from './once-forward.ts'
import { orderOfSteps } from './once-order.ts'

/** The ONCE clauses, in the order of the page. */
export const once: readonly Clause[] = [
  { id: 'ONCE-1', title: 'One effect per message', needs: 'memory', run: oneEffect },
  { id: 'ONCE-2', title: 'Record and effect appear together', needs: 'memory', run: recordAndEffect },
  { id: 'ONCE-3', title: 'The window is as stated', needs: 'memory', run: windowIsTrue },
  { id: 'ONCE-4', title: 'Two copies at the same time', needs: 'memory', run: atTheSameTime },
  { id: 'ONCE-5', title: 'A failed attempt leaves no record', needs: 'memory', run: noRecordOfFailure },
  { id: 'ONCE-6', title: 'No claim without means', needs: 'memory', run: noClaim },
  { id: 'ONCE-7', title: 'Atomic forward', needs: 'memory', gate: when('forward', 'atomic'), run: atomicForward, other: noAtomicForward },
  {
    id: 'ONCE-8',
    title: 'Zombies are fenced in transactions',
    needs: 'memory',
    gate: when('forward', 'atomic'),
    run: zombies,
    other: noAtomicForward,
  },
  { id: 'ONCE-9', title: 'Outputs follow the handler', needs: 'memory', run: outputsFollow },
  { id: 'ONCE-10', title: 'Foreign ids cannot abuse the store', needs: 'memory', run: foreignIds },
  { id: 'ONCE-11', title: 'Forwarded ids repeat themselves and never collide', needs: 'memory', run: idsOfForwards },
  { id: 'ONCE-12', title: 'The same id elsewhere is another message', needs: 'memory', run: sameIdElsewhere },
  { id: 'ONCE-13', title: 'once and its neighbours', needs: 'memory', run: neighbours },
  {
    id: 'ONCE-14',
    title: 'One step after the other in a key',
    needs: 'memory',
    gate: when('forward', 'atomic'),
    run: orderOfSteps,
    other: noAtomicForward,
  },
]
