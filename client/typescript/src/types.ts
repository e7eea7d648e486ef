/** What the API takes and returns, by the types generated from its OpenAPI document. Times are epoch seconds. */

import type { components, operations } from "./schema.js";

type Schemas = components["schemas"];

export type Batch = Schemas["Batch"];
export type Cancelled = Schemas["Cancelled"];
export type Candidate = Schemas["Candidate"];
export type Capabilities = Schemas["Capabilities"];
export type Deleted = Schemas["Deleted"];
export type Deliveries = Schemas["Deliveries"];
export type Delivery = Schemas["Delivery"];
export type EventType = Schemas["EventType"];
export type FailureCode = Schemas["FailureCode"];
export type Health = Schemas["Health"];
export type PartLink = Schemas["PartLink"];
export type Share = Schemas["ShareLink"];
export type UploadSlot = Schemas["UploadSlot"];
export type UploadState = Schemas["UploadState"];
export type Usage = Schemas["Usage"];
export type WebhookChanges = Schemas["WebhookChanges"];
export type WebhookRegistration = Schemas["WebhookRegistration"];
export type WebhookRegistrationWithSecret = Schemas["WebhookRegistrationWithSecret"];
export type WebhookRequest = Schemas["WebhookRequest"];
export type WebhookTestRequest = Schemas["WebhookTestRequest"];

/** The state of a track. Which fields are set depends on `status`; `deleted` occurs at the end of a stream only. */
export type Job = Partial<Omit<Schemas["Job"] & Pick<Schemas["Separation"], "cached" | "message">, "status">> & {
  status: Schemas["Job"]["status"] | "deleted";
  track_id: string;
};

type Request = Schemas["SeparationRequest"];

/** Options of a separation; what is absent is the service's default. */
export type Options = Partial<Omit<Request, "search_query" | "url" | "upload_id" | "object">>;

type Query = NonNullable<operations["listJobs"]["parameters"]["query"]>;

/** Filters of a list; a track must pass all of them. */
export type Filters = Omit<Query, "limit" | "cursor" | "metadata"> & { metadata?: Record<string, unknown> };

/** Called with the bytes that were sent or received, and the total. */
export type OnBytes = (done: number, size: number) => void;

/** Whether nothing more happens to a track by itself. */
export function hasEnded(job: Job): boolean {
  return job.status !== "processing";
}

/** Returns the link to each stem by its name; empty unless completed. */
export function linksOf(job: Job): Record<string, string> {
  const found = Object.entries(job.result ?? {}).filter(([name, link]) => name.endsWith("_url") && link);
  return Object.fromEntries(found.map(([name, link]) => [name.slice(0, -"_url".length), String(link)]));
}
