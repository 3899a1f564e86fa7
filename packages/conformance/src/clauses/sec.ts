import type { Clause } from '../clause.ts'
import { deniedIsLocal, noSecretShown, wrongPassword } from './sec-access.ts'
import { contentCannotPoison, errorTextsAreClean, headersCannotInject } from './sec-content.ts'
import { credentialsAreAskedForAgain, tlsIsVerified } from './sec-tls.ts'

/** The SEC clauses, in the order of the page. */
export const sec: readonly Clause[] = [
  { id: 'SEC-1', title: 'No secret is ever shown', needs: 'memory', standing: true, run: noSecretShown },
  { id: 'SEC-2', title: 'A wrong password says so, safely', needs: 'memory', run: wrongPassword },
  { id: 'SEC-3', title: 'TLS is verified', needs: 'network', run: tlsIsVerified },
  { id: 'SEC-4', title: 'Credentials are asked for again', needs: 'network', run: credentialsAreAskedForAgain },
  { id: 'SEC-5', title: 'Headers cannot inject', needs: 'memory', run: headersCannotInject },
  { id: 'SEC-6', title: 'Content cannot poison', needs: 'memory', run: contentCannotPoison },
  { id: 'SEC-7', title: 'Denied is definite and local', needs: 'memory', run: deniedIsLocal },
  { id: 'SEC-8', title: 'Error text in dead letters is capped and clean', needs: 'memory', run: errorTextsAreClean },
]
