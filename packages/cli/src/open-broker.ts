import type { Broker } from '@posthorn/core'
import { check, connectWith } from '@posthorn/core/adapter'
import { loadConfig } from '@posthorn/core/config'
import { realClock, realRandom } from './clock.ts'
import type { WantedBroker } from './surroundings.ts'

type Target = Awaited<ReturnType<typeof loadConfig>>

/**
 * Connects to the broker that the configuration names, with the adapter that the project has installed. Makes nothing there: a topic
 * that is missing is NOT_FOUND.
 *
 * @throws MessagingError `INVALID_ARGUMENT` for the configuration and for the embedded broker, which no other process reaches; what
 * connecting says
 */
export async function openBroker(
  wanted: WantedBroker,
  where: { readonly cwd: string; readonly env: Readonly<Record<string, string | undefined>> },
  signal: AbortSignal,
): Promise<Broker> {
  if (wanted.name?.includes(':'))
    throw check.invalid(
      'cannot use --broker',
      'it takes a name, not a URL: other users of this machine can read command lines. set POSTHORN_BROKER to the URL instead',
    )
  const target = await loadConfig(wanted.name, { ...where, ...(wanted.file === undefined ? {} : { file: wanted.file }) })
  if (isEmbedded(target))
    throw check.invalid(
      'cannot connect to the embedded broker',
      'its messages live in the memory of the process that opened it, and end with it; no command reaches them. ' +
        'there, use broker.deadLetters(topic, group); here, choose a server with --broker NAME or POSTHORN_BROKER',
    )
  return connectWith({ clock: realClock, random: realRandom, looksOnly: true }, target, { name: 'posthorn', log: false, signal })
}

function isEmbedded(target: Target): boolean {
  if (typeof target === 'string') return /^memory:/i.test(target)
  return 'url' in target ? /^memory:/i.test(target.url) : target.name === 'memory'
}
