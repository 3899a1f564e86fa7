import type { Client } from '../../compare/client.ts'
import { posthornClient } from '../../compare/posthorn.ts'

/** The same through Posthorn, by `connect(url)`. */
export const posthorn: Client = posthornClient(
  'send resolves with the confirm, persistent, mandatory; acks of finished prefixes after the handlers',
  30_000,
)
