// Texts of strangers on somebody's terminal. Messages may hold anything, also what moves the cursor, hides a line or turns it round.

const dangerous = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** A text as one line that a terminal shows and does nothing else with. */
export function oneLine(text: string): string {
  return text.replace(dangerous, (character) => short[character] ?? escaped(character))
}

/** The same with its lines. */
export function lines(text: string): string {
  return text.replace(dangerous, (character) => (character === '\n' || character === '\t' ? character : escaped(character)))
}

/** A value as one line of JSON, with nothing in it that a terminal acts upon. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replace(dangerous, escaped)}\n`
}

/** The first characters of a line. */
export function cut(text: string, most: number): string {
  const characters = [...text]
  return characters.length <= most ? text : `${characters.slice(0, Math.max(0, most - 1)).join('')}…`
}
