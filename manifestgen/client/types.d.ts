/**
 * The types of the client: what others implement, what they are handed, and documents as
 * `docs/format.md` has them, with times as milliseconds, base64 decoded and defaults filled in.
 */

export type Bytes = Uint8Array<ArrayBuffer>;
export type Json = { [name: string]: any };

/**
 * Where the client remembers. Values are text; `set` replaces a value whole or not at all. Best is
 * a place that the web bundle's own origin cannot rewrite silently.
 */
export interface Storage {
  get(key: string): Promise<string | null>;
  set(key: string, value: string): Promise<unknown>;
  remove(key: string): Promise<unknown>;
}

/**
 * One release on the device. `ref` is the adapter's own name for it: a folder, a cache, a plugin's
 * bundle id. It may be the tree's digest; one name never stands for two trees.
 */
export interface Slot {
  version: string;
  tree: string;
  ref: string;
  mandatory?: boolean;
  /** Where it was offered. */
  channel?: string;
}

export type Via = 'bundle' | 'files' | 'patch' | 'kept';

/** What `Adapter.stage` made: its name for it, how it came, and the bytes that took. */
export interface Staged {
  ref: string;
  via: Via;
  bytes: number;
}

/** A release to be made ready. */
export interface Plan {
  release: Release;
  /** Applies to the files of `running`. */
  patch: Patch | null;
  running: Slot | null;
  mandatory: boolean;
  /** The absolute URL of a blob. */
  url(blob: string): string;
  /** Download a blob; throws `store` or `digest` unless its stored bytes are as signed. */
  fetch(payload: Payload): Promise<Bytes>;
  /** For adapters that do not use `fetch`. */
  progress(loaded: number, total: number): void;
}

/**
 * How a platform holds bundles and switches between them. It decides nothing. Errors of its own
 * making are `UpdateError`s.
 */
export interface Adapter {
  /** The `ref` that runs now; `null` is the built-in app. The one truth about what runs. */
  current(): Promise<string | null>;
  /** Tell whether a staged release is still there whole, as far as the platform can tell. */
  holds(slot: Slot): Promise<boolean>;
  /**
   * Fetch a release and make it ready beside what runs. Throws if a file is not as it was signed:
   * an adapter that unpacks compares the tree's digest.
   */
  stage(plan: Plan): Promise<Staged>;
  /**
   * Run a release (`null`: the built-in app), at once or from the next start on, or reload and
   * never return: `current` tells when it has happened. What runs already is a way to call off a
   * switch that was to happen at the next start.
   */
  switch(slot: Slot | null): Promise<unknown>;
  /** Tell the platform that what runs works. Called at each `confirm`. */
  confirm?(): Promise<unknown>;
  /**
   * The refs that the platform itself switched to and left again. An adapter that has this watches
   * over trials itself; without it the updater's `start` does.
   */
  failed?(): Promise<string[]>;
  /** Remove every bundle but these. */
  keep?(slots: Slot[]): Promise<unknown>;
  /** Keep other tabs and processes out while `run` changes something. */
  lock?<T>(run: () => Promise<T>): Promise<T>;
  /** The `ref` that this page started with, where another tab may switch beneath it. */
  shown?(): Promise<string | null>;
  /** Show what was switched to, by starting again; nothing of the page may be left to return to. */
  reload?(): Promise<unknown>;
  /** Ask servers as suits the platform; by default the global `fetch`. */
  fetch?: Fetch;
}

/**
 * Verify one signature: `message` is what was signed, `spki` the key's DER, `signature` 64 bytes.
 * Anything but `true` and `false` leaves it to WebCrypto.
 */
export type Verify = (
  algorithm: Algorithm,
  spki: Bytes,
  signature: Bytes,
  message: Bytes,
) => boolean | void | Promise<boolean | void>;

export type Fetch = (url: string, options: RequestInit) => Promise<Response>;
export type Emit = (type: string, detail: unknown) => void;

export interface Options {
  /**
   * The address of the site; relative to the page where there is one. A query (`?device=NAME`) goes
   * with everything that is asked of it. Of several, copies of one site, each check asks the next
   * where one cannot be reached or is not to be trusted.
   */
  site: string | readonly string[];
  /** The root the app was built with: the text or bytes of `root.json`. */
  root: string | Uint8Array;
  /** By default the one followed so far, at first `production`. */
  channel?: string;
  device?: Device;
  storage: Storage;
  adapter: Adapter;
  fetch?: Fetch;
  verify?: Verify;
  /** Milliseconds since 1970. */
  now?: () => number;
  /** Milliseconds in which a server must send something: 1 KiB/s over this time. */
  patience?: number;
}

/**
 * What came of a call. `check` says `none`, `install` or `reset`; `download` also `staged`; `apply`
 * says `none`, `installed`, `reset`, or `pending` where that happens at the next start.
 */
export interface Outcome {
  action: 'none' | 'install' | 'staged' | 'installed' | 'pending' | 'reset';
  version: string | null;
  via: Via | null;
  /** What was downloaded, or by `check` the size of the bundle. */
  bytes: number;
  mandatory: boolean;
  notes: string;
  /** Why there is nothing to do. */
  reason: string | null;
  verdicts: Verdict[];
}

/**
 * Whether anything is new since the last check: `changed`, the site has another manifest, or there
 * was no check; `stale`, another tab has switched; or nothing.
 */
export type Look = 'same' | 'changed' | 'stale';

/** What a device knows of itself. */
export interface Status {
  app: string;
  channel: string;
  running: Slot | null;
  confirmed: boolean;
  previous: Slot | null;
  staged: Slot | null;
  failed: Slot[];
  floor: string | null;
  sequence: number | null;
  expires: number | null;
  root: number;
  rootExpires: number;
  checked: number | null;
}

/** What is remembered beside the root, the manifests and the releases, as JSON. */
export interface State {
  type: 'client.v1';
  channel: string | null;
  /** What the platform said ran. */
  current: string | null;
  running: Slot | null;
  confirmed: boolean;
  /** An unconfirmed release has had its first start. */
  tried: boolean;
  previous: Slot | null;
  staged: Slot | null;
  /** The platform was told to switch to `staged`. */
  pending: boolean;
  failed: Slot[];
  /** The envelope of the confirmed release whose floor counts. */
  floor: Json | null;
  checked: number | null;
  looked: number | null;
  /** Whose manifests are remembered. */
  channels: string[];
}

export type Algorithm = 'ed25519' | 'p256';

/** A public key; the algorithm is the key's own, never a document's word. */
export interface Key {
  algorithm: Algorithm;
  keyid: string;
  spki: Bytes;
  imported?: Promise<CryptoKey>;
}

/** The keys and thresholds of one trusted root. */
export interface Keyring {
  root: Root;
  verify?: Verify;
}

export interface Envelope {
  signatures: { keyid: string; sig: Bytes }[];
  signed: Json;
  /** The whole, as received. */
  json: Json;
}

export interface Role {
  keys: string[];
  threshold: number;
}

export interface Root {
  app: string;
  number: number;
  issued: number;
  expires: number;
  max_days: number;
  keys: Map<string, Key>;
  roles: { root: Role; release: Role; manifest: (Role & { channels: string[] })[] };
}

export interface Payload {
  blob: string;
  size: number;
  plain: string;
  plain_size: number;
}

export interface Patch extends Payload {
  base: string;
}

export interface Audience {
  platforms: string[];
  native: { range: string; platform: string | null }[];
}

export interface Wrapped {
  iv: Bytes;
  session_key: Bytes;
  checksum: Bytes;
  form: 'v2' | 'v3';
  key_id: string;
}

export interface Release {
  app: string;
  version: string;
  issued: number;
  tree: { digest: string; files: number; size: number };
  scheme: 'capgo' | 'none';
  bundle: Payload;
  /** There under its scheme alone. */
  capgo: Wrapped | null;
  audience: Audience;
  /** Where it may be offered; empty: anywhere. */
  channels: string[];
  floor: string | null;
  notes: string;
  /** The list of single files, in the clear, if there is one. */
  files: Payload | null;
}

export interface Rollout {
  share: number;
  ramp: { first: number; start: number; end: number } | null;
  salt: string | null;
}

export interface Offer {
  release: Envelope;
  rollout: Rollout;
  audience: Audience;
  mandatory: boolean;
  patches: Patch[];
}

export interface Manifest {
  app: string;
  channel: string;
  sequence: number;
  issued: number;
  expires: number;
  root: number;
  offers: Offer[];
  withdrawn: string[];
  paused: boolean;
}

/** The newest manifest accepted: its sequence, the digest of its signed part, its time. */
export interface Seen {
  sequence: number;
  digest: string;
  issued: number;
}

/** A verified manifest; `releases` runs parallel to its offers, an error where one is not believed. */
export interface Trusted {
  manifest: Manifest;
  releases: (Release | Error)[];
  /** What to remember of it. */
  seen: Seen;
}

/** What an installation says of itself; without an `id`, no rollout below 100 % reaches it. */
export interface Device {
  id?: string | null;
  platform?: string | null;
  /** The version of the native app. */
  native?: string | null;
  /** The version of the web app that came with it. */
  builtin?: string | null;
}

/** What of a device's state bears on the decision; `failed` are trees. */
export interface Memory {
  running?: { version: string; tree: string } | null;
  floor?: string | null;
  failed?: string[];
  /** The device itself changed channel since its last check. */
  moved?: boolean;
}

/** Why an offer does or does not admit a device: `docs/format.md` section 12. */
export interface Verdict {
  version: string | null;
  reason: string;
}

export interface Install {
  action: 'install';
  release: Release;
  envelope: Envelope;
  /** Applies to what runs now. */
  patch: Patch | null;
  mandatory: boolean;
  verdicts: Verdict[];
}

export type Decision =
  | { action: 'nothing'; reason: string; verdicts: Verdict[] }
  | { action: 'reset'; verdicts: Verdict[] }
  | Install;
