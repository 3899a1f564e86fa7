import type { Client } from '../../compare/client.ts'
import { posthornClient } from '../../compare/posthorn.ts'

/** The same through Posthorn, by `connect(url)`. */
export const posthorn: Client = posthornClient('send resolves with the script’s reply; fenced read and XACK after the handler', 100_000)
