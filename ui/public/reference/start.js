// Shows this server's own document. Nothing is fetched from elsewhere; "Try it out" asks this server, as whoever is signed
// in here or with a token that is typed in.
document.documentElement.classList.toggle("dark-mode", document.documentElement.dataset.theme === "dark");

SwaggerUIBundle({
  url: "/api/openapi.yaml",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: false,
  validatorUrl: "none",
});
