/** Client of Stemyard's REST API, for browsers and Node; what needs files of Node is in `stemyard-client/node`. */

export * from "./client.js";
export type { DownloadOptions, Sink, Stem } from "./downloads.js";
export {
  AddressError,
  ApiError,
  AuthenticationError,
  ConflictError,
  ConnectionFailedError,
  ForbiddenError,
  InvalidAnswerError,
  InvalidRequestError,
  NotFoundError,
  RateLimitedError,
  SeparationFailedError,
  ServerError,
  StemyardError,
  TransferError,
  WaitTimeoutError,
} from "./errors.js";
export type { FollowOptions } from "./following.js";
export type { Retries } from "./retries.js";
export * from "./types.js";
export type { Source, UploadOptions } from "./uploads.js";
export * from "./webhooks.js";
export type * as openapi from "./schema.js";
