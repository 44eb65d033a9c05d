/** The kinds of sighting, in the order they are offered. */
export const KINDS = {
  bird: "Bird",
  plant: "Plant",
  mammal: "Mammal",
  insect: "Insect",
  ...(__FUNGI__ ? { fungus: "Fungus" } : {}),
  other: "Other",
};

/** A note may come from a newer version of the app, with a kind this one does not know. */
export function knownKind(kind) {
  return Object.hasOwn(KINDS, kind) ? kind : "other";
}
