// What is shown while the demo runs: what happened, line by line, and below it the services and a progress bar.
import type { WriteStream } from 'node:tty'
import { digits, type Paint, paintFor } from './paint.ts'

export interface ServiceLine {
  readonly name: string
  readonly state: 'running' | 'stopped' | 'not started'
  readonly figures: string
}
export interface Progress {
  /** From 0 to 1. */
  readonly done: number
  readonly orders: number
  readonly of: number
  readonly services: readonly ServiceLine[]
}
export interface Screen {
  /** Something happened. */
  say(text: string, kind?: 'good' | 'trouble' | 'note'): void
  /** From now on the progress is shown, until `end`. */
  show(progress: () => Progress): void
  /** Takes the progress away; what was said stays. */
  end(): void
}

type Stream = Pick<WriteStream, 'write'> & { readonly isTTY?: boolean | undefined; readonly columns?: number | undefined }

/** Nothing at all, for `--json`. */
export const silent: Screen = { say: () => undefined, show: () => undefined, end: () => undefined }

/** On a terminal the lower part is painted again and again; elsewhere there is a plain line now and then. */
export function createScreen(stream: Stream, started: number = performance.now()): Screen {
  const terminal = stream.isTTY === true
  const paint = paintFor({ isTTY: terminal })
  let progress: (() => Progress) | undefined
  let timer: NodeJS.Timeout | undefined
  let painted = 0
  let lastShown = 0

  const clear = () => (painted === 0 ? '' : `\u001b[${painted}A\u001b[J`)
  function repaint(said = ''): void {
    if (!terminal || progress === undefined) {
      stream.write(said)
      return
    }
    const lines = ['', ...block(progress(), paint, (performance.now() - started) / 1000)].map((line) =>
      cut(line, (stream.columns ?? 80) - 1),
    )
    stream.write(`${clear()}${said}${lines.join('\n')}\n`)
    painted = lines.length
  }
  function plain(): void {
    const now = progress?.()
    if (now === undefined || Math.floor(now.done * 10) === lastShown) return
    lastShown = Math.floor(now.done * 10)
    const services = now.services.map(({ name, state, figures }) => `${name} ${state === 'running' ? figures.trim() : state}`)
    stream.write(`${stamp()}  ${String(Math.floor(now.done * 100)).padStart(3)} %  ${services.join(' | ')}\n`)
  }
  const stamp = () => `${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s`

  return {
    say(text, kind = 'note') {
      const mark = { good: paint.green('✓'), trouble: paint.yellow('!'), note: paint.dim('·') }[kind]
      repaint(`${paint.dim(stamp())}  ${mark} ${text}\n`)
    },
    show(from) {
      progress = from
      repaint()
      timer = setInterval(terminal ? repaint : plain, terminal ? 100 : 250)
    },
    end() {
      clearInterval(timer)
      if (terminal && progress !== undefined) stream.write(clear())
      progress = undefined
      painted = 0
    },
  }
}

function block({ done, orders, of, services }: Progress, paint: Paint, seconds: number): string[] {
  const width = 32
  const full = Math.min(width, Math.floor(done * width))
  const bar = `${paint.green('█'.repeat(full))}${paint.dim('░'.repeat(width - full))}`
  const states = { running: paint.green('running    '), stopped: paint.yellow('stopped    '), 'not started': paint.dim('not started') }
  return [
    `  ${bar} ${String(Math.floor(done * 100)).padStart(3)} %   ${digits(orders)} of ${digits(of)} orders   ${seconds.toFixed(0)} s`,
    ...services.map(({ name, state, figures }) => `  ${paint.bold(name.padEnd(10))} ${states[state]}  ${figures}`),
  ]
}

/** Cuts a line with colours to what fits; a line that wraps could not be painted over. */
function cut(line: string, columns: number): string {
  let shown = 0
  let out = ''
  for (const part of line.split(/(\u001b\[\d+m)/)) {
    if (part.startsWith('\u001b')) out += part
    else {
      out += part.slice(0, Math.max(0, columns - shown))
      shown += part.length
    }
  }
  return out
}
