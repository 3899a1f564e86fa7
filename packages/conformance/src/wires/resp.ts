// Where the values of a RESP stream end (Redis, protocol versions 2 and 3).

/** A value of a stream, as far as the proxy looks into it. */
export interface RespValue {
  readonly bytes: Uint8Array
  /** The first byte: `*` array, `$` bulk, `+`, `-`, `:`, `>` push, `%` map … or 0 for a command without framing. */
  readonly type: number
  /** Elements of an array or push. */
  readonly length: number
  /** The first elements of an array or push as text, as far as they are strings or numbers of one level. Else empty. */
  readonly words: readonly string[]
}

const cr = 13
const lf = 10
const bulk = new Set(['$', '=', '!'].map((sign) => sign.charCodeAt(0)))
const aggregate = new Map([...'*~>%|'].map((sign) => [sign.charCodeAt(0), sign === '%' || sign === '|' ? 2 : 1]))
const simple = new Set([...'+-:_,#('].map((sign) => sign.charCodeAt(0)))
const attribute = '|'.charCodeAt(0)
const maxWords = 8
/** Longer words are no names of commands. Scripts are asked for separately. */
const maxWordBytes = 512
const none: readonly string[] = []

/** Finds the values in what arrives. `inline`: a line that begins with no sign of a type is a command (clients may write so). */
export class RespScanner {
  readonly #inline: boolean
  /** Text of a script instead of its name: which word it is, and what becomes of it. */
  readonly #digest: ((script: Uint8Array) => string) | undefined
  #buffer: Uint8Array = new Uint8Array(0)
  #parts: Uint8Array[] = []
  #partsLength = 0
  /** Scanned so far. */
  #at = 0
  /** Nothing new can be seen before the buffer is this long. */
  #needed = 0
  /** Elements that are still to come, outermost first. */
  #open: number[] = []
  #start = 0
  #type = 0
  #length = 0
  #words: string[] = []
  #broken = false

  constructor(inline: boolean, digest?: (script: Uint8Array) => string) {
    this.#inline = inline
    this.#digest = digest
  }

  /** The values that are complete now. Bytes that are no RESP come out at once, as values of type 0, and so does all that follows. */
  add(chunk: Uint8Array): readonly RespValue[] {
    if (this.#broken) return [{ bytes: chunk, type: 0, length: 0, words: none }]
    const rest = this.#buffer.length + this.#partsLength
    if (rest === 0) this.#buffer = chunk
    else if (rest + chunk.length < this.#needed) {
      this.#parts.push(chunk)
      this.#partsLength += chunk.length
      return []
    } else {
      this.#buffer = Buffer.concat([this.#buffer, ...this.#parts, chunk])
      this.#parts = []
      this.#partsLength = 0
    }
    const values: RespValue[] = []
    while (!this.#broken && this.#step(values));
    if (this.#broken) values.push({ bytes: this.#buffer.subarray(this.#start), type: 0, length: 0, words: none })
    this.#buffer = this.#broken ? new Uint8Array(0) : this.#buffer.subarray(this.#start)
    this.#at -= this.#start
    this.#needed -= this.#start
    this.#start = 0
    return values
  }

  /** Goes over one element; false when it is not all there. */
  #step(values: RespValue[]): boolean {
    const buffer = this.#buffer
    if (this.#at >= buffer.length) return false
    const end = buffer.indexOf(lf, this.#at)
    if (end < 0) {
      this.#needed = buffer.length + 1
      // A line holds a number or a short text; what goes on without end is something else.
      if (buffer.length - this.#at > 1024 * 1024) this.#broken = true
      return false
    }
    const sign = buffer[this.#at] as number
    const outermost = this.#open.length === 0
    if (outermost) {
      this.#type = sign
      this.#length = 0
      this.#words = []
    }
    const factor = aggregate.get(sign)
    if (factor !== undefined) {
      const count = this.#number(end)
      if (count === undefined) return this.#fail()
      this.#at = end + 1
      if (outermost) this.#length = count
      if (count > 0) {
        if (sign === attribute && !outermost) this.#open[this.#open.length - 1] = (this.#open.at(-1) ?? 0) + 1
        this.#open.push(sign === attribute && outermost ? count * factor + 1 : count * factor)
      } else this.#ended(values)
    } else if (bulk.has(sign)) {
      const length = this.#number(end)
      if (length === undefined) return this.#fail()
      const after = length < 0 ? end + 1 : end + 1 + length + 2
      if (buffer.length < after) {
        this.#needed = after
        return false
      }
      this.#word(end + 1, length)
      this.#at = after
      this.#ended(values)
    } else if (simple.has(sign)) {
      this.#word(this.#at + 1, end - 1 - (this.#at + 1))
      this.#at = end + 1
      this.#ended(values)
    } else if (this.#inline && outermost) {
      this.#words = [...textOf(buffer, this.#at, end).trim().split(/\s+/)].slice(0, maxWords)
      this.#type = 0
      this.#at = end + 1
      this.#ended(values)
    } else return this.#fail()
    return true
  }

  #fail(): boolean {
    this.#broken = true
    return false
  }

  #number(end: number): number | undefined {
    const text = textOf(this.#buffer, this.#at + 1, this.#buffer[end - 1] === cr ? end - 1 : end)
    return /^-?\d{1,15}$/.test(text) ? Number(text) : undefined
  }

  #word(from: number, length: number): void {
    if (this.#open.length !== 1 || this.#words.length >= maxWords) return
    const known = this.#words.length
    if (known === 1 && this.#digest !== undefined && /^eval(_ro)?$/i.test(this.#words[0] ?? ''))
      this.#words.push(this.#digest(this.#buffer.subarray(from, from + Math.max(0, length))))
    else this.#words.push(length > maxWordBytes ? '' : textOf(this.#buffer, from, from + Math.max(0, length)))
  }

  /** An element is over, and with it perhaps what it is part of. */
  #ended(values: RespValue[]): void {
    let last = this.#open.length - 1
    while (last >= 0) {
      const left = (this.#open[last] ?? 1) - 1
      if (left > 0) {
        this.#open[last] = left
        return
      }
      this.#open.pop()
      last--
    }
    values.push({ bytes: this.#buffer.subarray(this.#start, this.#at), type: this.#type, length: this.#length, words: this.#words })
    this.#start = this.#at
  }
}

function textOf(buffer: Uint8Array, from: number, to: number): string {
  return Buffer.from(buffer.buffer, buffer.byteOffset + from, Math.max(0, to - from)).toString('latin1')
}
