// The command line of the demo.

export interface DemoOptions {
  readonly orders: number
  /** Orders per second; undefined: as fast as they are taken. */
  readonly rate: number | undefined
  /** What `connect` takes. */
  readonly broker: string
  /** What people are told about it: a URL may hold a password. */
  readonly title: string
  readonly keep: boolean
  readonly json: boolean
}
/** What to do, or why not. */
export type Command = { readonly run: DemoOptions } | { readonly help: true } | { readonly refused: string }

export const allOrders = 6919

export const help = `npm run demo -- [options]

Replays ${allOrders.toLocaleString('en')} real purchases through an order service and four services behind it, and counts what arrives.

  --orders N     only the first N purchases (1 to ${allOrders})
  --rate N       N orders per second; without it as fast as they are taken
  --broker NAME  memory (the embedded broker), redis, rabbitmq, kafka or mqtt (a real server, started for this run and taken away
                 afterwards); or the URL of a server that runs: redis://host, amqp://user:password@host, kafka://host, mqtt://host
  --keep         leave the services running afterwards and show where they are, until Ctrl-C
  --json         only the report, for programs, on stdout
  --help         this text

Exit code: 0 if every figure is what it must be, 1 if one is not, 2 if the options are refused.
`

const names = ['--orders', '--rate', '--broker', '--keep', '--json', '--help']
const realBrokers = [
  { name: 'redis', title: 'Redis', schemes: ['redis', 'rediss'] },
  { name: 'rabbitmq', title: 'RabbitMQ', schemes: ['amqp', 'amqps'] },
  { name: 'kafka', title: 'Kafka', schemes: ['kafka'] },
  { name: 'mqtt', title: 'MQTT', schemes: ['mqtt', 'mqtts'] },
]

/** `started`: the server that was started for this run, as `npm run demo` says it in `POSTHORN_DEMO_SERVER`. */
export function parseCommand(args: readonly string[], started: string | undefined = undefined): Command {
  let options: DemoOptions = {
    orders: allOrders,
    rate: undefined,
    broker: 'memory:demo',
    title: 'the embedded broker',
    keep: false,
    json: false,
  }
  const left = [...args]
  while (left.length > 0) {
    const [name = '', inline] = splitOnce(left.shift() ?? '', '=')
    if (!names.includes(name) && name !== '-h') return refuse(`there is no option ${name}.${suggest(name, names)}`)
    if (name === '--help' || name === '-h') return { help: true }
    if (name === '--keep' || name === '--json') {
      if (inline !== undefined) return refuse(`${name} takes no value.`)
      options = { ...options, [name.slice(2)]: true }
      continue
    }
    const value = inline ?? left.shift()
    if (value === undefined || value === '') return refuse(`${name} needs a value.`)
    if (name === '--broker') {
      const target = brokerTarget(value)
      if ('refused' in target) return target
      options = { ...options, broker: target.url, title: started ?? target.title }
    } else if (name === '--orders') {
      const orders = Number(value)
      if (!Number.isInteger(orders) || orders < 1 || orders > allOrders)
        return refuse(`--orders takes a whole number from 1 to ${allOrders}, not ${value}.`)
      options = { ...options, orders }
    } else {
      const rate = Number(value)
      if (!Number.isFinite(rate) || rate <= 0) return refuse(`--rate takes orders per second, more than 0, not ${value}.`)
      options = { ...options, rate }
    }
  }
  return { run: options }
}

// A URL may hold a password: only its scheme is ever shown.
function brokerTarget(value: string): { readonly url: string; readonly title: string } | { readonly refused: string } {
  const [scheme = '', rest] = splitOnce(value, ':')
  if (scheme === 'memory') {
    const url = rest === undefined || rest === '' ? 'memory:demo' : value
    return { url, title: url === 'memory:demo' ? 'the embedded broker' : `the embedded broker ${url}` }
  }
  const named = (broker: { readonly name: string; readonly schemes: readonly string[] }) =>
    rest === undefined ? broker.name === scheme : broker.schemes.includes(scheme)
  const real = realBrokers.find(named)
  if (real !== undefined && rest !== undefined) return { url: value, title: `a ${real.title} server` }
  if (real !== undefined)
    return refuse(
      `${real.title} by its name is started by \`npm run demo -- --broker ${real.name}\`; here --broker takes the URL of a server that runs.`,
    )
  const known = ['memory', ...realBrokers.map(({ name }) => name)]
  return refuse(`--broker does not know "${scheme}".${suggest(scheme, known)} There are ${known.join(', ')}.`)
}

function refuse(why: string): { readonly refused: string } {
  return { refused: why }
}

function splitOnce(text: string, by: string): [string, string | undefined] {
  const at = text.indexOf(by)
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + by.length)]
}

function suggest(given: string, known: readonly string[]): string {
  const best = known.map((name) => ({ name, distance: distance(given, name) })).sort((a, b) => a.distance - b.distance)[0]
  return best !== undefined && best.distance <= Math.max(2, given.length / 3) ? ` Did you mean ${best.name}?` : ''
}

/** How many letters must be added, removed or replaced. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
