/*
 * svm.h - AMD's Secure Virtual Machine behind virt.h.
 */
#ifndef VMM_SVM_SVM_H
#define VMM_SVM_SVM_H

#include "vmm/virt.h"

extern const struct virt_ops svm_ops;

/* Turns SVM on for this CPU.  Why not, in one line, when it cannot be. */
err_t svm_enable(const char **why) must_check;

#endif
