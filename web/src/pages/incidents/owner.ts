/** "user:ada" as people say it. */
export const ownerName = (owner: string): string => owner.replace(/^user:/, '')
