// Colours, where the output is a terminal and nobody said no.
import type { WriteStream } from 'node:tty'

const codes = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const
export type Paint = Record<keyof typeof codes, (text: string) => string>

export function paintFor(stream: Pick<WriteStream, 'isTTY'>, env: NodeJS.ProcessEnv = process.env): Paint {
  const on = stream.isTTY === true && (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb'
  const colour = (name: keyof typeof codes) => (text: string) => (on ? `\u001b[${codes[name][0]}m${text}\u001b[${codes[name][1]}m` : text)
  return {
    bold: colour('bold'),
    dim: colour('dim'),
    red: colour('red'),
    green: colour('green'),
    yellow: colour('yellow'),
    cyan: colour('cyan'),
  }
}

/** 6919 → 6,919 */
export function digits(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: 0 })
}
