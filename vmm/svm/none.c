/*
 * none.c - in place of svm.c without CONFIG_SVM: a CPU that cannot.
 */
#include "vmm/svm/svm.h"

const struct virt_ops svm_ops = { .name = "none" };

err_t svm_enable(const char **why)
{
	*why = "this hypervisor was built without CONFIG_SVM; turn it on with 'make menuconfig'";
	return ERR_UNSUPPORTED;
}
