/** Text as it may stand in the page. */
export const safe = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char] ?? char)

/** The class that gives a client its colour. */
export const colourOf = (client: string): string => (['naive', 'tuned', 'posthorn'].includes(client) ? client : 'other')

/** A number short enough for the end of a bar: 123,456 as 123k, 1.234 as 1.23. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (value >= 1_000_000) return `${(value / 1_000_000).toPrecision(3)}M`
  if (value >= 10_000) return `${Math.round(value / 1000)}k`
  if (value >= 1000) return `${(value / 1000).toFixed(1)}k`
  if (value >= 100) return String(Math.round(value))
  return value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
