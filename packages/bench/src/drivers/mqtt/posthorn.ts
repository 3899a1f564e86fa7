import type { Client } from '../../compare/client.ts'
import { posthornClient } from '../../compare/posthorn.ts'

/** The same through Posthorn, by `connect(url)`. */
export const posthorn: Client = posthornClient(
  'send resolves with the PUBACK; acknowledged after the handler in receive order; a session per partition',
  40_000,
)
