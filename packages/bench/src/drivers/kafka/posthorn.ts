import type { Client } from '../../compare/client.ts'
import { posthornClient } from '../../compare/posthorn.ts'

/** The same through Posthorn, by `connect(url)`. */
export const posthorn: Client = posthornClient(
  'send resolves when all replicas in sync have it; positions written after the handlers',
  60_000,
)
