export const lifeStatus: readonly import("../clause.ts").Clause[] = []
