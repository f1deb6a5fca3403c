/* Which moonphase this is, for people, logs and the User-Agent. */
#ifndef MOONPHASE_BASE_VERSION_H
#define MOONPHASE_BASE_VERSION_H

extern const char moonphase_version[]; /* as git describes the sources, or "dev" */

#endif
