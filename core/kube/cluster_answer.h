/* What an answer >= 400 says: the fields of its Status object. */
#ifndef MOONPHASE_KUBE_CLUSTER_ANSWER_H
#define MOONPHASE_KUBE_CLUSTER_ANSWER_H

#include "kube/cluster.h"

/* Fill reason and message of `a` from its body; retry_after_s too, unless a header said it.
 * What is no Status object gives reason "" and the beginning of its text as message. */
void cluster_answer_read(struct cluster_answer *a);

#endif
