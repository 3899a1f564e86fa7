// The picture at the top: Posthorn beside the tuned client of the same server, everything at once.

import { goal } from '../compare/rows.ts'
import { spoiled } from '../report.ts'
import type { Table } from '../scenario.ts'
import { safe } from './markup.ts'

const width = 1180
const left = 210
const right = 1160
const line = 20

interface Ratio {
  readonly what: string
  readonly broker: string
  readonly ratio: number
  readonly says: string
}

/** Every ratio of Posthorn to the tuned client as a point: on the right it is faster. Latency counts the other way round, so that right is better. */
export function ratioFigure(tables: readonly Table[], brokers: readonly string[]): string {
  const ratios = ratiosOf(tables)
  if (ratios.length === 0) return ''
  const rows = [...new Set(ratios.map(({ what }) => what))]
  const low = Math.min(0.5, ...ratios.map(({ ratio }) => ratio))
  const high = Math.max(2, ...ratios.map(({ ratio }) => ratio))
  const at = (ratio: number): number => left + ((right - left) * Math.log(ratio / low)) / Math.log(high / low)
  const height = rows.length * line + 6
  const ticks = [0.1, 0.25, 0.5, 0.85, 1, 1.5, 2, 4, 8, 16].filter((tick) => tick >= low && tick <= high)
  const axis = ticks
    .map((tick) => {
      const strong = tick === goal.ratio || tick === goal.never
      return (
        `<line class="${strong ? 'mark' : 'grid'}" x1="${at(tick)}" x2="${at(tick)}" y1="0" y2="${height}"/>` +
        `<text class="axis" x="${at(tick)}" y="${height + 14}" text-anchor="middle">${tick}</text>`
      )
    })
    .join('')
  const points = rows.map((what, index) => {
    const y = index * line + line / 2 + 3
    const own = ratios.filter((ratio) => ratio.what === what)
    const dots = own.map(
      ({ broker, ratio, says }) =>
        `<circle class="b${brokers.indexOf(broker) % 4}" cx="${at(ratio)}" cy="${y}" r="5.5" opacity="0.9"><title>${safe(says)}</title></circle>`,
    )
    return `<text x="${left - 12}" y="${y + 4}" text-anchor="end">${safe(what)}</text><line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>${dots.join('')}`
  })
  const key = brokers.map((broker, index) => `<span><i class="b${index % 4}"></i>${safe(broker)}</span>`).join('')
  return `<figure class="wide"><figcaption>Posthorn beside the tuned bare client of the same server: right of 1 it is better, left of 0.85 it should never be</figcaption><div class="key">${key}</div><svg viewBox="0 0 ${width} ${height + 20}" role="img">${axis}${points.join('')}</svg></figure>`
}

function ratiosOf(tables: readonly Table[]): Ratio[] {
  return tables.flatMap(({ name, rows }) =>
    rows.flatMap((row): Ratio[] => {
      const { mark } = row
      if (mark === undefined || mark.client !== 'posthorn' || spoiled(row)) return []
      const { ofTuned, p50OfTuned } = mark.values
      const what = name === 'saturation' ? 'highest rate, 100 B' : name === 'fan-out' ? `fan-out, ${mark.panel}` : mark.panel
      const says = (ratio: number): string => `${mark.broker}, ${what}: ${ratio.toFixed(2)} times the tuned client`
      if (ofTuned !== undefined) return [{ what, broker: mark.broker, ratio: ofTuned.median, says: says(ofTuned.median) }]
      if (p50OfTuned === undefined) return []
      const ratio = 1 / p50OfTuned.median
      return [
        {
          what: `latency p50 at ${what}`,
          broker: mark.broker,
          ratio,
          says: `${mark.broker}, ${what}: p50 ${p50OfTuned.median.toFixed(2)} times the tuned client’s`,
        },
      ]
    }),
  )
}
