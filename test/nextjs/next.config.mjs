export default {
  // Next.js looks for the folder above the lock file that is highest up.
  turbopack: { root: import.meta.dirname },
  poweredByHeader: false,
}
