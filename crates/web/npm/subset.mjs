// Makes the fonts that pages load: the letters and weights that the style sheets use, a quarter of the whole.
import fs from "node:fs";
import subsetFont from "subset-font";

const range = (first, last) =>
  Array.from({ length: last - first + 1 }, (_, index) => String.fromCodePoint(first + index)).join("");
const ascii = range(0x20, 0x7e);

const fonts = [
  ["geist", ascii + range(0xa0, 0xff) + "–‘’“”…", { wght: { min: 400, max: 650 } }],
  ["geist-mono", ascii, { wght: 400 }],
];

for (const [name, text, variationAxes] of fonts) {
  const whole = fs.readFileSync(`node_modules/@fontsource-variable/${name}/files/${name}-latin-wght-normal.woff2`);
  fs.writeFileSync(`${name}.woff2`, await subsetFont(whole, text, { targetFormat: "woff2", variationAxes }));
}
