const scale = (name, label, factor) => ({
  name,
  label,
  toBase: (value) => value * factor,
  fromBase: (base) => base / factor,
});

/** Quantities and their units; a unit leads to and from the first one's base. */
export const QUANTITIES = {
  Distance: [
    scale("km", "kilometres", 1000),
    scale("mi", "miles", 1609.344),
    scale("m", "metres", 1),
    scale("ft", "feet", 0.3048),
    scale("yd", "yards", 0.9144),
    scale("nmi", "nautical miles", 1852),
  ],
  Temperature: [
    scale("°C", "Celsius", 1),
    { name: "°F", label: "Fahrenheit", toBase: (f) => ((f - 32) * 5) / 9, fromBase: (c) => (c * 9) / 5 + 32 },
    { name: "K", label: "kelvin", toBase: (k) => k - 273.15, fromBase: (c) => c + 273.15 },
  ],
  Wind: [
    scale("km/h", "kilometres per hour", 1 / 3.6),
    scale("mph", "miles per hour", 0.44704),
    scale("m/s", "metres per second", 1),
    scale("kn", "knots", 1852 / 3600),
  ],
  Weight: [
    scale("kg", "kilograms", 1),
    scale("lb", "pounds", 0.45359237),
    scale("g", "grams", 0.001),
    scale("oz", "ounces", 0.028349523125),
  ],
  Area: [
    scale("ha", "hectares", 10000),
    scale("ac", "acres", 4046.8564224),
    scale("m²", "square metres", 1),
    scale("km²", "square kilometres", 1e6),
  ],
};

const format = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 5 });

/** A number in so many digits as a walk needs, with a true minus sign. */
export function say(value) {
  return format.format(Number(value.toPrecision(12))).replace("-", "−");
}
