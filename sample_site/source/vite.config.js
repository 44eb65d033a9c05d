import { defineConfig } from "vite";

/** What each build is called and which features it has; nothing else differs. */
const RELEASES = {
  v1: { version: "1.0.0", search: false, theme: false, fungi: false },
  v2: { version: "1.1.0", search: true, theme: true, fungi: true },
};

/** Write the version into index.html, and a package.json that names the build. */
function stamp(version) {
  return {
    name: "stamp",
    transformIndexHtml: (html) => html.replaceAll("__VERSION__", version),
    generateBundle() {
      const about = { name: "fieldnotes", version, private: true };
      this.emitFile({
        type: "asset",
        fileName: "package.json",
        source: `${JSON.stringify(about, null, 2)}\n`,
      });
    },
  };
}

export default defineConfig(({ mode }) => {
  const release = RELEASES[mode];
  if (!release) throw new Error(`want --mode v1 or --mode v2, got ${mode}`);
  return {
    base: "./",
    define: {
      __VERSION__: JSON.stringify(release.version),
      __SEARCH__: JSON.stringify(release.search),
      __FUNGI__: JSON.stringify(release.fungi),
    },
    resolve: {
      alias: { "#theme": `/src/features/${release.theme ? "theme" : "no-theme"}.js` },
    },
    plugins: [stamp(release.version)],
    build: {
      outDir: `../${mode}`,
      emptyOutDir: true,
      // Keep the picture and the fonts files of their own, as in a larger app.
      assetsInlineLimit: 0,
      rolldownOptions: {
        output: {
          codeSplitting: { groups: [{ name: "lib", test: /\/src\/lib\// }] },
        },
      },
    },
  };
});
