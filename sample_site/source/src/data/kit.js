/** What the list holds until somebody changes it. */
export const KIT = [
  { group: "Always", items: ["Notebook and pencil", "Water", "Map", "Charged phone", "First-aid kit"] },
  { group: "Looking", items: ["Binoculars", "Hand lens", "Head torch"] },
  { group: "Weather", items: ["Waterproof jacket", "Warm layer", "Sun hat", "Spare socks"] },
];
