/** Added in 1.1. These are notes for looking, not for eating. */
export const FUNGI = [
  { name: "Fly agaric", latin: "Amanita muscaria", kind: "fungus", months: [8, 11], look: "Scarlet cap with white flakes that rain can wash off; white gills and a ringed stem. Poisonous.", where: "Under birch and pine." },
  { name: "Shaggy ink cap", latin: "Coprinus comatus", kind: "fungus", months: [8, 11], look: "Tall white shaggy cylinder that turns pink, then black, and drips away into ink.", where: "Lawns, verges and disturbed soil." },
  { name: "Turkeytail", latin: "Trametes versicolor", kind: "fungus", months: [1, 12], look: "Thin velvety fans in rings of brown, grey, blue and cream; white pores beneath.", where: "Stumps and dead branches of broad-leaved trees." },
  { name: "Scarlet elf cup", latin: "Sarcoscypha austriaca", kind: "fungus", months: [1, 4], look: "Bright red cups, pale outside, up to five centimetres across.", where: "Mossy fallen sticks in damp woods." },
  { name: "Giant puffball", latin: "Calvatia gigantea", kind: "fungus", months: [7, 10], look: "A white ball the size of a football or larger, smooth as kid leather.", where: "Meadows, hedge bottoms and nettle beds." },
];
