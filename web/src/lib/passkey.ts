// Passkeys: what the server asks goes to the browser, and what that answers goes back. Both are JSON as WebAuthn spells it.
interface FromJSON {
  parseCreationOptionsFromJSON(options: unknown): PublicKeyCredentialCreationOptions
  parseRequestOptionsFromJSON(options: unknown): PublicKeyCredentialRequestOptions
}

/** Whether this browser can use passkeys, in the form that the server speaks. */
export function canUsePasskeys(): boolean {
  return typeof PublicKeyCredential === 'function' && 'parseRequestOptionsFromJSON' in PublicKeyCredential
}

const parser = () => PublicKeyCredential as unknown as FromJSON

export async function makePasskey(options: unknown): Promise<unknown> {
  return answerOf(await navigator.credentials.create({ publicKey: parser().parseCreationOptionsFromJSON(options) }))
}

export async function askPasskey(options: unknown): Promise<unknown> {
  return answerOf(await navigator.credentials.get({ publicKey: parser().parseRequestOptionsFromJSON(options) }))
}

function answerOf(credential: Credential | null): unknown {
  if (!(credential instanceof PublicKeyCredential)) throw new DOMException('no passkey', 'NotAllowedError')
  return credential.toJSON()
}
