import type { Clause } from '../clause.ts'
import { ack } from './ack.ts'
import { bad } from './bad.ts'
import { cap } from './cap.ts'
import { dlq } from './dlq.ts'
import { dly } from './dly.ts'
import { err } from './err.ts'
import { fid } from './fid.ts'
import { flow } from './flow.ts'
import { grp } from './grp.ts'
import { int } from './int.ts'
import { life } from './life.ts'
import { net } from './net.ts'
import { once } from './once.ts'
import { ord } from './ord.ts'
import { pub } from './pub.ts'
import { rbl } from './rbl.ts'
import { sec } from './sec.ts'
import { trc } from './trc.ts'

/** Every clause, in the order of the page. */
export const allClauses: readonly Clause[] = [
  ...cap,
  ...pub,
  ...grp,
  ...ack,
  ...err,
  ...ord,
  ...dly,
  ...flow,
  ...life,
  ...fid,
  ...bad,
  ...net,
  ...rbl,
  ...trc,
  ...int,
  ...once,
  ...dlq,
  ...sec,
]
