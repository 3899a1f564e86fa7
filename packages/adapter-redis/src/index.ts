// The way in: `redis(options)` for people, `adapter(url, options)` for `connect`.
export {}
