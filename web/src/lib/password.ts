/** The shortest password that the server takes; it checks again. */
export const shortestPassword = 10

export type PasswordProblem = 'short' | 'differs'

/** What is wrong with a new password and its repetition. */
export function passwordProblems(password: string, again: string): PasswordProblem[] {
  const found: PasswordProblem[] = []
  if (password.length < shortestPassword) found.push('short')
  if (password !== again) found.push('differs')
  return found
}
