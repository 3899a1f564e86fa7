// The demo: real purchases through the services of this folder. See `--help`, and demo/story.ts for what happens.
import type { LogEntry } from '@posthorn/core'
import { startMailPage } from './demo/mail-page.ts'
import { type DemoOptions, help, parseCommand } from './demo/options.ts'
import { paintFor } from './demo/paint.ts'
import { readPurchases } from './demo/purchases.ts'
import { renderReport } from './demo/report.ts'
import { createScreen, type Screen, silent } from './demo/screen.ts'
import { type Stage, setStage } from './demo/stage.ts'
import { tell } from './demo/story.ts'

const command = parseCommand(process.argv.slice(2), process.env.POSTHORN_DEMO_SERVER)
if ('help' in command) process.stdout.write(help)
else if ('refused' in command) {
  process.stderr.write(`${command.refused}\nnpm run demo -- --help shows the options.\n`)
  process.exitCode = 2
} else process.exitCode = await main(command.run)

async function main(options: DemoOptions): Promise<number> {
  const orders = readPurchases(options.orders)
  const screen = options.json ? silent : createScreen(process.stdout)
  const paint = paintFor(process.stdout)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)

  if (!options.json)
    process.stdout.write(
      `${paint.bold('Posthorn')}: ${orders.length.toLocaleString('en')} real purchases through five services on ${options.title}\n\n`,
    )
  let stage: Stage | undefined
  try {
    stage = await setStage(orders, { target: options.broker, log: firstOfEach(screen) })
    const report = await tell(stage, options, screen, stop.signal)
    process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : renderReport(report, paint))
    if (options.keep) await keep(stage, stop.signal, options)
    return report.ok ? 0 : 1
  } catch (error) {
    screen.end()
    if (stop.signal.aborted) {
      process.stderr.write('stopped before the end: nothing was counted\n')
      return 130
    }
    stop.abort()
    process.stderr.write(`the demo cannot go on: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  } finally {
    screen.end()
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    await stage?.close()
  }
}

/** Shows what the library logs, the first line of each kind. That the broker is embedded is what the demo's own first line says. */
function firstOfEach(screen: Screen): (service: string, entry: LogEntry) => void {
  const shown = new Set<string>()
  return (service, { level, event, message }) => {
    if ((level !== 'warn' && level !== 'error') || event === 'embedded-broker' || shown.has(`${service} ${event}`)) return
    shown.add(`${service} ${event}`)
    screen.say(`log of ${service}: ${message}`, 'trouble')
  }
}

/** Leaves everything running until Ctrl-C. */
async function keep({ services, mail, push }: Stage, signal: AbortSignal, { json }: DemoOptions): Promise<void> {
  const page = await startMailPage(mail.mails)
  const order = `{ "userId": "ada", "productName": "horn", "orderId": "ada-1", "price": 12.5, "placedAt": "1997-01-18" }`
  const lines = [
    'The services are still running, until Ctrl-C:',
    `  mails   ${page.url}    ${page.url}mails.json`,
    `  pushes  ${push.url}`,
    `  SMTP    ${mail.url}`,
    `  orders  ${services.ordersUrl}`,
    'Place an order:',
    `  curl ${services.ordersUrl} -d '${order}'`,
  ]
  ;(json ? process.stderr : process.stdout).write(`${lines.join('\n')}\n`)
  await new Promise<void>((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })))
  await page.close()
}
