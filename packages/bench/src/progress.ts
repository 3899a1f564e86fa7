import { monotonic, sleep } from './clock.ts'

/** Resolves when `enough()`, or when `count()` has stood still for `stallMs`. */
export async function settledDown(enough: () => boolean, count: () => number, stallMs: number): Promise<void> {
  const step = Math.max(1, Math.min(50, stallMs / 10))
  let last = count()
  for (let still = 0; !enough() && still < stallMs; ) {
    await sleep(step)
    still = count() === last ? still + step : 0
    last = count()
  }
}

/** Something that will take about so long. */
export interface Step {
  readonly seconds: number
}

/** What a person sees while it runs. */
export interface Progress {
  /** This step begins. */
  now(step: Step, what: string): void
  /** It is over and took so long; undefined: it was left out. */
  over(step: Step, seconds: number | undefined): void
  /** One line that stays. */
  say(line: string): void
  /** The display is not needed any more. */
  end(): void
}

/** Where the display is drawn: a terminal, or what only takes lines. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/**
 * Shows how far it is and how long it will take: from what each step took in an earlier pass, or else from what it was said to
 * take, times how wrong that was so far. Where nothing can be drawn over it says a line now and then.
 */
export function progressOf(steps: readonly Step[], passes: number, until: number, screen: Screen): Progress {
  const left = new Map<Step, number>(steps.map((step) => [step, passes]))
  const took = new Map<Step, number>()
  const began = monotonic()
  let said = 0
  let drawn = false

  const factor = (): number => {
    let said = 0
    let real = 0
    for (const [step, seconds] of took) {
      said += step.seconds
      real += seconds
    }
    return said === 0 ? 1 : real / said
  }
  function secondsLeft(): number {
    const wrong = factor()
    let sum = 0
    for (const [step, times] of left) sum += times * (took.get(step) ?? step.seconds * wrong)
    return Math.max(0, Math.min(sum, (until - monotonic()) / 1000))
  }
  function clear(): void {
    if (drawn) screen.write('\r\u001b[2K')
    drawn = false
  }
  function draw(what: string): void {
    const still = secondsLeft()
    const gone = (monotonic() - began) / 1000
    const share = gone / Math.max(0.001, gone + still)
    const bar = '█'.repeat(Math.round(share * 20)).padEnd(20, '░')
    const line = `${bar} ${String(Math.round(share * 100)).padStart(3)} %  ${timeOf(still)} left  ${what}`
    if (screen.isTTY === true) {
      clear()
      screen.write(line.slice(0, (screen.columns ?? 80) - 1))
      drawn = true
    } else if (said === 0 || gone >= said + 15) {
      said = Math.max(gone, 0.001)
      screen.write(`${line}\n`)
    }
  }
  function finish(step: Step): void {
    left.set(step, Math.max(0, (left.get(step) ?? 0) - 1))
  }
  return {
    now: (_step, what) => draw(what),
    over(step, seconds) {
      finish(step)
      if (seconds !== undefined) took.set(step, seconds)
    },
    say(line) {
      clear()
      screen.write(`  ${line}\n`)
    },
    end: clear,
  }
}

/** 83 seconds as 1:23. */
export const timeOf = (seconds: number): string =>
  `${Math.floor(Math.round(seconds) / 60)}:${String(Math.round(seconds) % 60).padStart(2, '0')}`
