// The way in: `rabbitmq(options)` for people, `adapter(url, options)` for `connect`.
export {}
