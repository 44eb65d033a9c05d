import { FUNGI } from "./fungi.js";

/** Common sights of north-west Europe; `months` is the best time to look, first to last. */
export const SPECIES = [
  { name: "Robin", latin: "Erithacus rubecula", kind: "bird", months: [1, 12], look: "Orange-red face and breast, warm brown back, upright on thin legs. Young birds are speckled and have no red.", where: "Gardens, hedges and woods. Sings through the winter, even under street lamps." },
  { name: "Kingfisher", latin: "Alcedo atthis", kind: "bird", months: [1, 12], look: "Small and big-billed, electric blue above and orange below. Often only a blue line low over the water.", where: "Slow rivers, canals and lakes with clear water and earth banks." },
  { name: "Swift", latin: "Apus apus", kind: "bird", months: [5, 8], look: "Dark all over, with long sickle wings and a short forked tail. Never perches on wires.", where: "High over towns and lakes; nests under old roofs." },
  { name: "Barn swallow", latin: "Hirundo rustica", kind: "bird", months: [4, 9], look: "Glossy blue-black back, rusty throat, cream belly and long tail streamers.", where: "Farmyards and pasture, low over cattle; mud cup nests on beams." },
  { name: "Tawny owl", latin: "Strix aluco", kind: "bird", months: [10, 3], look: "Round head, black eyes, mottled brown. Seen far less than it is heard.", where: "Old woods, parks and churchyards. Calls most in late autumn." },
  { name: "Grey heron", latin: "Ardea cinerea", kind: "bird", months: [1, 12], look: "Tall and grey with a black eye-stripe and dagger bill. Flies with its neck drawn in.", where: "Any shallow water, and garden ponds at dawn." },
  { name: "Bluebell", latin: "Hyacinthoides non-scripta", kind: "plant", months: [4, 5], look: "Nodding stem with violet-blue bells along one side, cream pollen, sweet scent.", where: "Ancient woods before the leaves close over." },
  { name: "Wood anemone", latin: "Anemone nemorosa", kind: "plant", months: [3, 5], look: "One white star on each stem, often pink beneath, over three deeply cut leaves. Closes in rain.", where: "Old woodland and hedge banks." },
  { name: "Foxglove", latin: "Digitalis purpurea", kind: "plant", months: [6, 8], look: "Tall spike of purple bells, spotted inside, above a rosette of downy leaves. Poisonous.", where: "Clearings, banks and newly felled woods on acid soil." },
  { name: "Hawthorn", latin: "Crataegus monogyna", kind: "plant", months: [5, 10], look: "Thorny shrub with lobed leaves. White scented blossom in May, dark red haws in autumn.", where: "The commonest hedge; also scrub and wood edges." },
  { name: "Bramble", latin: "Rubus fruticosus", kind: "plant", months: [6, 9], look: "Arching prickly stems, white or pink flowers, and berries that ripen from red to black.", where: "Hedges, woods and waste ground." },
  { name: "Common poppy", latin: "Papaver rhoeas", kind: "plant", months: [6, 8], look: "Four crumpled scarlet petals, often black at the base, on a hairy stem.", where: "Field edges and freshly turned soil." },
  { name: "Hedgehog", latin: "Erinaceus europaeus", kind: "mammal", months: [4, 10], look: "Brown, rounded and spiny with a pointed snout. Snuffles loudly while feeding.", where: "Gardens, hedges and pasture, after dark." },
  { name: "Roe deer", latin: "Capreolus capreolus", kind: "mammal", months: [1, 12], look: "Small deer with a black nose, white chin and pale rump. Red-brown in summer, grey-brown in winter.", where: "Wood edges and fields at dawn and dusk." },
  { name: "Red fox", latin: "Vulpes vulpes", kind: "mammal", months: [1, 12], look: "Orange-brown with a white chest, dark legs and a full, often white-tipped tail.", where: "Everywhere from moor to city street." },
  { name: "Badger", latin: "Meles meles", kind: "mammal", months: [3, 10], look: "Grey and broad, with a black-and-white striped head.", where: "Woods and pasture. Look for worn paths, and setts with wide sideways-D entrances." },
  { name: "Otter", latin: "Lutra lutra", kind: "mammal", months: [1, 12], look: "Long and brown with a pale throat and a thick tapering tail. Swims with a flat head and a V-shaped wake.", where: "Rivers, lakes and sheltered coasts." },
  { name: "Brimstone", latin: "Gonepteryx rhamni", kind: "insect", months: [3, 9], look: "Leaf-shaped wings, butter yellow in the male and greenish white in the female. Rests with wings shut.", where: "Sunny hedges and rides where buckthorn grows." },
  { name: "Peacock", latin: "Aglais io", kind: "insect", months: [3, 9], look: "Rust-red with four large eye-spots; the underside is nearly black.", where: "Gardens and meadows. The caterpillars eat nettles." },
  { name: "Buff-tailed bumblebee", latin: "Bombus terrestris", kind: "insect", months: [2, 10], look: "Large and black with two dark yellow bands. The queen’s tail is buff, the workers’ whitish.", where: "Gardens and meadows; queens fly on mild winter days." },
  { name: "Emperor dragonfly", latin: "Anax imperator", kind: "insect", months: [6, 8], look: "Very large. Green thorax; the male’s abdomen is sky blue with a black line, and droops a little in flight.", where: "Ponds and lakes with plenty of plants; patrols the open water." },
  { name: "Seven-spot ladybird", latin: "Coccinella septempunctata", kind: "insect", months: [3, 10], look: "Red with three black spots on each wing case and one shared. White patches beside the head.", where: "Low plants with greenfly." },
  ...(__FUNGI__ ? FUNGI : []),
];
