/* A folder of a test's own, removed when its process ends. */
#ifndef MOONPHASE_SPEC_TEMPORARY_H
#define MOONPHASE_SPEC_TEMPORARY_H

/* Its path; made by the first call. */
const char *temporary_folder(void);

#endif
