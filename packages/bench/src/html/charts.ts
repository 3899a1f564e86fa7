import type { Chart, Mark } from '../scenario.ts'
import { colourOf, safe, short } from './markup.ts'
import { linear, logarithmic, type Scale } from './scale.ts'

const width = 360
const left = 66
const right = 314
const bar = 11
const gap = 10

/** Marks that may be drawn; a row with a loss is not among them. */
export interface Panel {
  readonly title: string
  readonly marks: readonly Mark[]
  /** Brokers and clients whose row is not drawn, because it lost, repeated or misordered messages. */
  readonly spoiled: readonly string[]
}

/** The picture of one panel: broker under broker, client under client. */
export function figureOf(chart: Chart, panel: Panel): string {
  const draw = chart.values.length === 1 ? barsOf : pointsOf
  const note = panel.spoiled.length === 0 ? '' : `<p class="flag">not drawn, faulty: ${safe(panel.spoiled.join('; '))}</p>`
  return `<figure><figcaption>${safe(panel.title)}</figcaption>${draw(chart, panel.marks)}${note}</figure>`
}

/** A line for each client, brokers apart. */
interface Place {
  readonly mark: Mark
  readonly top: number
}

function placesOf(marks: readonly Mark[]): { readonly places: readonly Place[]; readonly labels: string; readonly height: number } {
  const brokers = [...new Set(marks.map(({ broker }) => broker))]
  const places: Place[] = []
  let labels = ''
  let top = 4
  for (const broker of brokers) {
    const own = marks.filter((mark) => mark.broker === broker)
    labels += `<text x="${left - 8}" y="${top + (own.length * (bar + 3)) / 2 + 2}" text-anchor="end">${safe(broker)}</text>`
    for (const mark of own) {
      places.push({ mark, top })
      top += bar + 3
    }
    top += gap
  }
  return { places, labels, height: top - gap + 2 }
}

function axisOf(scale: Scale, height: number): string {
  const some = scale.ticks.length > 6 ? scale.ticks.filter((_, index) => index % 2 === 0) : scale.ticks
  return some
    .map(
      (tick) =>
        `<line class="grid" x1="${scale.at(tick)}" x2="${scale.at(tick)}" y1="0" y2="${height}"/>` +
        `<text class="axis" x="${scale.at(tick)}" y="${height + 13}" text-anchor="middle">${tick === 0 ? '0' : tickText(tick)}</text>`,
    )
    .join('')
}
const tickText = (tick: number): string => short(tick).replace(/\.0+(?=k|M|$)|(?<=\.\d)0+$/, '')

function svgOf(height: number, inner: string): string {
  return `<svg viewBox="0 0 ${width} ${height + 18}" role="img">${inner}</svg>`
}

function barsOf({ values: [name = ''], unit, scale: kind }: Chart, marks: readonly Mark[]): string {
  const drawn = marks.filter((mark) => mark.values[name] !== undefined)
  const all = drawn.map((mark) => mark.values[name]?.highest ?? 0)
  const scale = (kind === 'log' ? logarithmic : linear)([...all, ...drawn.map((mark) => mark.values[name]?.lowest ?? 0)], left, right)
  const { places, labels, height } = placesOf(drawn)
  const bars = places.map(({ mark, top }) => {
    const value = mark.values[name] ?? { median: 0, lowest: 0, highest: 0 }
    const end = scale.at(value.median)
    const says = `${mark.broker}, ${mark.client}: ${short(value.median)} ${unit} (${short(value.lowest)}–${short(value.highest)})`
    const spread =
      value.highest > value.lowest
        ? `<line class="spread" x1="${scale.at(value.lowest)}" x2="${scale.at(value.highest)}" y1="${top + bar / 2}" y2="${top + bar / 2}"/>`
        : ''
    return (
      `<g><title>${safe(says)}</title><rect class="${colourOf(mark.client)}" x="${left}" y="${top}" width="${Math.max(1, end - left)}" height="${bar}" rx="2"/>${spread}` +
      `<text x="${Math.max(end, scale.at(value.highest)) + 5}" y="${top + bar - 2}">${short(value.median)}</text></g>`
    )
  })
  return svgOf(height, axisOf(scale, height) + labels + bars.join(''))
}

function pointsOf({ values: names, unit, scale: kind }: Chart, marks: readonly Mark[]): string {
  const drawn = marks.filter((mark) => names.every((name) => mark.values[name] !== undefined))
  const median = (mark: Mark, name: string): number => mark.values[name]?.median ?? 0
  const scale = (kind === 'log' ? logarithmic : linear)(
    drawn.flatMap((mark) => names.map((name) => median(mark, name))),
    left,
    right,
  )
  const { places, labels, height } = placesOf(drawn)
  const lines = places.map(({ mark, top }) => {
    const y = top + bar / 2
    const points = names.map((name) => scale.at(median(mark, name)))
    const says = `${mark.broker}, ${mark.client}: ${names.map((name) => `${name} ${short(median(mark, name))}`).join(', ')} ${unit}`
    const colour = colourOf(mark.client)
    const dots = points.map(
      (x, index) => `<circle class="${colour}" cx="${x}" cy="${y}" r="${index === 0 ? 4.5 : 3}" opacity="${1 - index * 0.17}"/>`,
    )
    return (
      `<g><title>${safe(says)}</title><line class="${colour}" stroke-width="2" opacity="0.45" x1="${Math.min(...points)}" x2="${Math.max(...points)}" y1="${y}" y2="${y}"/>${dots.join('')}` +
      `<text x="${Math.max(...points) + 7}" y="${y + 4}">${short(median(mark, names[0] ?? ''))}</text></g>`
    )
  })
  return svgOf(height, axisOf(scale, height) + labels + lines.join(''))
}
